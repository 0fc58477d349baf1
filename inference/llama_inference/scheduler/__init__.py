"""Who runs when: bounded admission, one generation at a time, deadlines, cancellation, draining."""
