"""The training loop of `fit`: options, checks, and how many steps each engine call runs."""
