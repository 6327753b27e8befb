"""The one `MetaData` of the gateway's database, and the column types that all tables share.

Tables are the only source of DDL; migrations are tested to give the same schema. Amounts are
nano (64-bit), times are unix milliseconds of the *database's* clock (SPEC 5), digests and
commitments are raw bytes where they are looked up often and hex text where people read them.
"""

from sqlalchemy import BigInteger, CheckConstraint, Integer, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Amount = BigInteger
Milliseconds = BigInteger
Serial = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is exactly INTEGER."""


def not_negative(column: str) -> CheckConstraint:
    """The column is never below zero."""
    return CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative")


def one_of(column: str, *values: str) -> CheckConstraint:
    """The column holds one of these words."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def bytes_long(column: str, length: int) -> CheckConstraint:
    """The column holds exactly so many bytes."""
    return CheckConstraint(f"length({column}) = {length}", name=f"{column}_length")
