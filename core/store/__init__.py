"""The SQLite store: schema, migrations and one module a noun."""
