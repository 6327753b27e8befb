"""Payment channels as three parties keep them: gateway, client and worker (SPEC 7 to 9).

`identity` says what a channel is, `terms` what goes over HTTP, `acceptance` holds the gateway's
books, `spending` the client's, `payout` both sides of a worker's pay, `closing` the end of it all.
Each rule takes a frozen state and returns the next one, or raises an error with a code of its own.
"""
