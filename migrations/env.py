"""Run migrations on the connection that `gateway.database` hands over."""

from alembic import context

from gateway.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
