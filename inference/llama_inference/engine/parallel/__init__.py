"""Several ranks for one model: processes that each hold a part of the weights and compute every step together.

Rank 0 schedules and chooses tokens; it tells the others each step's layout over a connection of its own to each, whose
end is how either side notices at once that the other is gone, whatever the device is busy with.
"""
