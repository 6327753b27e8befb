"""The wallet of a sealed client: what it pays with, and its books on disk (SPEC 7.9).

`store` keeps one channel and is the only place that makes a `Saved` purse, `payer` applies the
pure rules of `bombyx.money.channel`, `wallet` finds the channel for a request, `paying` is what a
session does around one. `funding` moves money; only it needs the distribution bombyx-ton.
"""
