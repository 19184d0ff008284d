"""The values that keys of ``cluster.yaml`` hold: names, times, ports, addresses. Every type says what it wants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from ai_how.spec import walltime
from ai_how.spec.compose import short

#: Names become host names, folder names, Slurm partitions and SQL names: the narrowest of these rules them all.
NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}\Z")


@dataclass(frozen=True)
class Shape:
    """A pattern that a whole text has to match, and what such a text is called: pydantic shows the pattern alone."""

    pattern: str
    called: str

    def check(self, value: str) -> str:
        """The value, if it has the shape. Raises :class:`ValueError`."""
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"'{short(value)}' is no {self.called}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(handler(schema)) | {"pattern": f"^{self.pattern}$"}


class Frozen(BaseModel):
    """Unknown keys are mistakes, and values never change after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _name(value: str) -> str:
    if not NAME.match(value):
        raise ValueError(
            f"'{short(value)}' cannot be a name: a lower-case letter first, then letters, digits and '-', "
            "31 characters at most"
        )
    return value


def _time(value: str) -> str:
    if walltime.seconds(value) == 0:
        raise ValueError(f"'{value}' is no time at all; write minutes, HH:MM:SS or D-HH:MM:SS")
    return value


def _quoted_time(value: Any) -> Any:
    # YAML 1.1 reads 24:00:00 without quotes as the number 86400 (base 60); 1.2 keeps it text. Take minutes too.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _address(value: str) -> str:
    try:
        IPv4Address(value)
    except AddressValueError:
        raise ValueError(f"'{short(value)}' is no IPv4 address, such as 192.168.100.10") from None
    return value


def _subnet(value: str) -> str:
    try:
        found = IPv4Network(value, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise ValueError(f"'{short(value)}' is no IPv4 subnet, such as 192.168.100.0/24") from None
    if "/" not in value:
        raise ValueError(f"'{value}' is no subnet: its length is missing, such as {value}/24")
    if str(found) != value:
        raise ValueError(f"'{value}' names an address inside its subnet; the subnet is {found}")
    return value


def _range(value: str) -> str:
    first, last = bounds(value)
    if last < first:
        raise ValueError(f"the range '{value}' ends before it begins")
    return value


@lru_cache(maxsize=4096)
def bounds(text: str) -> tuple[int, int]:
    """First and last address of a range, as numbers.

    A range is one address, ``192.168.100.11``; with the last number of its end, ``192.168.100.11-14``; or with its
    whole end, ``10.0.0.11-10.0.3.250``. Raises :class:`ValueError`.
    """
    start, dash, end = text.partition("-")
    try:
        first = IPv4Address(start)
        whole = end if "." in end or not dash else f"{start.rpartition('.')[0]}.{end}"
        last = IPv4Address(whole) if dash else first
    except AddressValueError:
        raise ValueError(
            f"'{short(text)}' is no range of IPv4 addresses, such as 192.168.100.11-14 or 10.0.0.11-10.0.1.250"
        ) from None
    return int(first), int(last)


Name = Annotated[str, AfterValidator(_name)]
Time = Annotated[str, BeforeValidator(_quoted_time, json_schema_input_type=str | int), AfterValidator(_time)]
#: A number and a unit: 90s, 15m, 2h, 1d.
Duration = Annotated[str, Shape(r"[1-9]\d{0,6}[smhd]", "duration, such as 90s, 15m or 2h")]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, AfterValidator(_address)]
Subnet = Annotated[str, AfterValidator(_subnet)]
AddressRange = Annotated[str, AfterValidator(_range)]
