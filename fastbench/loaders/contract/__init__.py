"""Does a loader keep the contract? The rules, how they are tried, and the process they run in."""
