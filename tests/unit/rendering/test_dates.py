from __future__ import annotations

from collections.abc import Callable

import pytest

from server.domain.templates import RenderError


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-05T14:07:09Z",
        "2026-03-05T14:07:09.000+00:00",
        "2026-03-05 16:07:09 +0200",
        "2026-03-05T16:07:09+02:00",
        "2026/3/5 14:07:09",
        "3/5/2026, 2:07:09 PM",
        "March 5, 2026 14:07:09",
        "Mar 5, 2026 2:07:09 pm",
        "5 Mar 2026 14:07:09",
        "Thu, 05 Mar 2026 14:07:09 GMT",
        "Thu, 05 Mar 2026 16:07:09 +0200",
        "1772719629",
        1772719629,
        1772719629.9,
    ],
)
def test_dates_are_read_as_javascript_reads_them(show: Callable[..., str], written: object) -> None:
    assert show("{{ d | date: '%Y-%m-%d %H:%M:%S' }}", d=written) == "2026-03-05 14:07:09"


@pytest.mark.parametrize("written", ["soon", "", "2026-13-45", "31/31/2026", "5 Foo 2026", 1e300, None, ["x"], True])
def test_what_is_no_date_is_shown_as_it_is(show: Callable[..., str], written: object) -> None:
    assert show("{{ d | date: '%Y' }}", d=written) == show("{{ d }}", d=written)


def test_zones_by_name_and_by_minutes(show: Callable[..., str]) -> None:
    winter, summer = "2026-01-05T12:00:00Z", "2026-07-05T12:00:00Z"
    assert show("{{ d | date: '%H:%M %z', 'Europe/Berlin' }}", d=winter) == "13:00 +0100"
    assert show("{{ d | date: '%H:%M %:z', 'Europe/Berlin' }}", d=summer) == "14:00 +02:00"
    assert show("{{ d | date: '%H:%M %z', 300 }}", d=winter) == "07:00 -0500"


@pytest.mark.parametrize("zone", ["Nowhere/Town", "../../etc/passwd", "", "/etc/localtime", 10**9, "x" * 300])
def test_an_unknown_zone_is_an_error(show: Callable[..., str], zone: object) -> None:
    with pytest.raises(RenderError, match="unknown time zone"):
        show("{{ d | date: '%H', z }}", d=0, z=zone)
