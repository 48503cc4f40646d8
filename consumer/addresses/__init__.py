"""Addresses of database and broker: taken apart and checked, before any client library reads them."""
