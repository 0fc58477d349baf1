"""What does a grammar cost each step: masks over a vocabulary of 128,256 tokens, by llguidance and by xgrammar.

An output that is held to a grammar needs one mask for each token, between the logits and the choice: what a mask takes
is what a step takes longer.
"""
