"""Text out of tokens, by one rule for all who need it: what callers read, and the stop strings that end the work."""
