"""Signups by hand and over HTTP: published, followed, and whether their subdomain may still be had."""
