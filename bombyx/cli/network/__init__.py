"""A whole network on one machine, for `bombyx up` and `bombyx demo`: one OS process per role.

Roles are never imported here: each is started as `bombyx ROLE` and spoken to over HTTP.
"""
