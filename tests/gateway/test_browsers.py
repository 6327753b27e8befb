"""Which origins may call, and what preflights allow."""

from gateway.browsers import Browsers


def test_no_origin_may_call_where_none_is_listed() -> None:
    nobody = Browsers(())
    asked = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"POST")]
    assert nobody.preflight(asked) == []
    assert b"access-control" not in nobody.lines(asked)
    assert Browsers(("*",)).preflight(asked[:1]) is None
