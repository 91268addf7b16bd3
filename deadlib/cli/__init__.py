"""The commands: each parses its arguments, calls one library function and prints the result."""
