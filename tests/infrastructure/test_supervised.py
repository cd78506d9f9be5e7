"""A process that nobody supervises."""

import socket

import pytest

from infrastructure.settings import Settings
from infrastructure.supervised import AddressRefused, Supervision, listening_socket


def test_without_a_supervisor_a_process_listens_by_itself() -> None:
    with listening_socket(Settings(port=0)) as listener:
        socket.create_connection(listener.getsockname()).close()


def test_it_listens_on_addresses_of_the_newer_kind_too() -> None:
    with listening_socket(Settings(host="::1", port=0)) as listener:
        socket.create_connection(listener.getsockname()[:2]).close()


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(AddressRefused, match=r"Rapport cannot listen on 192\.0\.2\.1 port 0"):
        listening_socket(Settings(host="192.0.2.1", port=0))


def test_without_a_supervisor_nobody_is_told() -> None:
    Supervision(1).report_ready()
