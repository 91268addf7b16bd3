#!/usr/bin/env bash
# A conversion as a SLURM array: each job writes its share, the last one finishes the dataset.
#
#   sbatch --array=1-16 --cpus-per-task=4 --mem=4G --time=4:00:00 bin/slurm_array.sh SOURCE OUT ...
#
# What follows goes to deadlib-convert. SOURCE and OUT lie on a disk that all nodes see;
# deadlib-convert is in the PATH when the array is submitted. docs/scale.md tells more.
#SBATCH --job-name=deadlib-convert
#SBATCH --output=deadlib-convert-%A_%a.log
set -euo pipefail
: "${SLURM_ARRAY_TASK_ID:?start this with sbatch --array=1-N}"
share=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))
if [ $((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1)) -ne "$SLURM_ARRAY_TASK_COUNT" ]; then
    echo "The array has gaps; expected --array=1-N. Jobs that are done end at once, so start all." >&2
    exit 2
fi
exec deadlib-convert "$@" --workers "${SLURM_CPUS_PER_TASK:-1}" \
    --shard-range "$share/$SLURM_ARRAY_TASK_COUNT"
