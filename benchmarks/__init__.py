"""Speed, measured: each module is a command that prints ratios and writes JSON."""
