"""A discrete-event simulation of a large network, on the gateway's own routing code."""
