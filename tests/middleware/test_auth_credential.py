"""Credentials: what they look like on the wire, and whatever else may come there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arpc.middleware import Credential
from arpc_middleware.auth.credential import FORMS, parse_authorization, parse_body

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("credential", "wire"),
    [
        (Credential("bearer", token="abc"), {"scheme": "bearer", "token": "abc"}),
        (Credential("password", user="a", password="b"), {"scheme": "password", "user": "a", "password": "b"}),
        (Credential("certificate"), {"scheme": "certificate"}),
    ],
)
def test_the_wire(credential: Credential, wire: dict[str, str]) -> None:
    assert json.loads(credential.encode()) == wire
    assert parse_body(credential.encode()) == credential


def test_a_repr_tells_no_secret() -> None:
    assert repr(Credential("password", "t", "ann", "p")) == "Credential(scheme='password', user='ann')"


def outcome(parse: Callable[[Any], Credential], value: Any) -> str:
    """With what it is refused; the same beginning where it is none."""
    try:
        return FORMS + parse(value).scheme
    except ValueError as error:
        return str(error)


@given(TEXT, TEXT)
def test_whatever_is_shown_arrives(user: str, secret: str) -> None:
    for credential in Credential("bearer", token=secret), Credential("password", user=user, password=secret):
        assert parse_body(credential.encode()) == credential


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b'{"scheme":"' + data + b'"}'))
def test_any_body_is_a_credential_or_one_documented_error(body: bytes) -> None:
    assert outcome(parse_body, body).startswith(FORMS)


@given(st.text(max_size=80) | st.integers() | st.binary(max_size=8).map(lambda data: f"Basic {data!r}"))
def test_any_metadata_is_a_credential_or_one_documented_error(value: Any) -> None:
    assert outcome(parse_authorization, value).startswith(FORMS)
