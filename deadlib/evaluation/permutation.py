"""Is a difference larger than chance? Sign flips of whole groups.

If two answers to the same question are equally good, it does not matter which of them is called
which, for any group: the difference after exchanging them within some groups is as likely as the
one found (Fisher 1935; Winkler et al. 2014, whole-block exchange). The p-value is the share of
exchanges whose difference is at least as far from 0. All are tried where there are few groups, else
a random sample, which counts the difference found as one of them (Phipson & Smyth 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadlib.bootstrap import WEIGHTS_AT_ONCE, Floats, Resampling, Statistic

# 2 ** 12 exchanges are fewer than a sample that is worth it
MOST_GROUPS_EXACT = 12
FEWEST_FLIPS = 9999
ROUNDING = 1e-12


@dataclass(frozen=True)
class SignFlips:
    """Which groups exchange: swaps (B, G) of 0 and 1; exact: all 2 ** G of them."""

    swaps: Floats
    exact: bool

    @property
    def count(self) -> int:
        return len(self.swaps)

    @property
    def smallest(self) -> float:
        """The smallest p-value that so many groups can give."""
        groups = self.swaps.shape[1]
        return max(2.0 ** (1 - groups), 0.0 if self.exact else 1 / (self.count + 1))

    def p_value(self, difference: Statistic, width: int | None = None) -> float | None:
        """The two-sided p-value of a difference of swaps (B, G) -> (B, 1).

        width: how wide the arrays of `difference` are. None where the difference is undefined.
        """
        groups = self.swaps.shape[1]
        found = abs(float(difference(np.zeros((1, groups)))[0, 0]))
        if not np.isfinite(found):
            return None
        chunk = max(1, WEIGHTS_AT_ONCE // (width or groups))
        swapped = np.concatenate(
            [
                difference(self.swaps[start : start + chunk])[:, 0]
                for start in range(0, self.count, chunk)
            ]
        )
        extreme = int(np.sum(np.abs(swapped) >= found - ROUNDING))
        return extreme / self.count if self.exact else (1 + extreme) / (1 + self.count)


def sign_flips(groups: int, resampling: Resampling) -> SignFlips:
    """All exchanges of up to 12 groups, else as many random ones as resamples, at least 9999."""
    if groups <= MOST_GROUPS_EXACT:
        every = np.arange(2**groups)[:, None] >> np.arange(groups) & 1
        return SignFlips(every.astype(float), exact=True)
    rng = np.random.default_rng(resampling.seed)
    count = max(resampling.resamples, FEWEST_FLIPS)
    return SignFlips(rng.integers(0, 2, (count, groups)).astype(float), exact=False)
