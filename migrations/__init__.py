"""Migrations of the gateway's database; run by `gateway.database.upgrade`, never by hand."""
