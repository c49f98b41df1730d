"""The comparison of runs of any day: what they leave is read as data and laid side by side."""
