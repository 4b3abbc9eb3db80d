"""What Alembic runs: the steps it has chosen, as one transaction, on the connection it is given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations(load=context.config.attributes["load"])
