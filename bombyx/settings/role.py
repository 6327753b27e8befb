"""What a role's settings are made of: the class they subclass, and where a value came from.

Pure types: constructing settings reads nothing but the arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

HOLDS_PASSWORD = "holds a password"  # noqa: S105 - the mark, not one
"""Marks a text that is shown but for the password in it: the address of a database."""


class RoleSettings(BaseSettings):
    """The settings of one role: subclass it in the role's package, one field per setting.

    Use `SecretStr` for whatever must not be shown, and mark an address with a password in it by
    `Annotated[str, HOLDS_PASSWORD]`; such a field may also be given as a file.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=True)
    STANDS_FOR: ClassVar[Mapping[str, Callable[[Any], Mapping[str, Any]]]] = {}
    """Settings in place of several: by name, what a value of theirs gives the others.

    Within one source a setting that is named itself goes before; a stronger source beats both.
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the names are pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only explicit arguments; `load_settings` brings the other sources."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from; `where` is the variable or file, empty for a default."""

    source: Literal["flag", "environment", "file", "default"]
    where: str = ""

    def __str__(self) -> str:
        """As one reads it: `environment BOMBYX_GATEWAY_PORT`."""
        return f"{self.source} {self.where}".rstrip()


def is_secret(field: FieldInfo) -> bool:
    """Whether a field holds a secret, wholly or in a part, and so may be given as a file."""
    annotation = field.annotation
    kinds = (annotation, *get_args(annotation))
    return HOLDS_PASSWORD in field.metadata or any(
        kind in (SecretStr, SecretBytes) for kind in kinds
    )
