"""What callers write and read: parameters and their rules, requests, answers. No HTTP, no torch."""
