"""How fast are many callers served: the native engine, its peers, and the bound, in the same run.

The bound of a number of rows is the time of the model's linear layers alone at that many rows, laid out as the engine
lays them out: they are all but the attention of what a step must compute.
"""
