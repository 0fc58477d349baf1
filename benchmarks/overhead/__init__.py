"""What does the server itself cost: requests a second, and milliseconds for each token, at 1, 100 and 1,000 streams.

The mock computes nothing, so whatever time passes is the server's and the callers', who share this machine. A token's
cost is that of all streams together: 0.1 ms at 100 streams is 10 ms for a step in which each of them gets a token.
"""
