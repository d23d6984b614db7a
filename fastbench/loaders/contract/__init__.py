"""`fastbench loaders check`: the rules of the contract, and the process in which they are tried."""
