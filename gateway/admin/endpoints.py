"""`/admin/v1` as a whole; importing the modules is what puts their routes on the router."""

from gateway.admin import account_endpoints, book_endpoints, chain_endpoints, worker_endpoints
from gateway.admin.router import router

MODULES = (account_endpoints, worker_endpoints, book_endpoints, chain_endpoints)

__all__ = ["MODULES", "router"]
