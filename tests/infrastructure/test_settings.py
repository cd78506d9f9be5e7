"""Settings: from the environment, checked, frozen."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from infrastructure.settings import Settings, SettingsRefused, default_data_folder


def test_every_setting_has_a_default_and_a_reason() -> None:
    settings = Settings.from_environment({})
    assert (settings.host, settings.port, settings.tenant) == ("127.0.0.1", 8000, "main")
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_sets_and_the_command_line_overrides() -> None:
    environment = {"RAPPORT_PORT": "8100", "RAPPORT_TENANT": "bakery", "RAPPORT_HOST": ""}
    settings = Settings.from_environment(environment, port=8200, tenant=None)
    assert (settings.port, settings.tenant, settings.host) == (8200, "bakery", "127.0.0.1")


def test_settings_do_not_change() -> None:
    settings = Settings.from_environment({})
    with pytest.raises(ValidationError):
        settings.port = 1


def test_a_child_process_is_given_the_same_settings() -> None:
    settings = Settings.from_environment({"RAPPORT_DATA": "/srv/rapport", "RAPPORT_DATABASE_URL": "host=db"}, port=1)
    assert Settings.from_environment(settings.to_environment()) == settings


def test_what_cannot_be_used_is_refused_by_its_name_all_at_once() -> None:
    environment = {
        "RAPPORT_PORT": "eighty",
        "RAPPORT_REPORTING_CURRENCY": "euro",
        "RAPPORT_TIME_ZONE": "Mars/Olympus",
    }
    with pytest.raises(SettingsRefused) as refused:
        Settings.from_environment(environment)
    names = [sentence.partition(":")[0] for sentence in refused.value.sentences]
    assert sorted(names) == sorted(environment)
    assert "RAPPORT_TIME_ZONE: it is not the name of an IANA time zone, such as Europe/Berlin." in str(refused.value)


def test_what_is_refused_is_not_repeated_as_it_may_hold_a_password() -> None:
    with pytest.raises(SettingsRefused) as refused:
        Settings.from_environment({"RAPPORT_LOG_LEVEL": "swordfish"})
    assert "swordfish" not in str(refused.value)


def test_the_password_of_the_database_is_not_shown() -> None:
    assert "swordfish" not in repr(Settings(database_url="postgresql://rapport:swordfish@db/rapport"))


@pytest.mark.parametrize("tenant", ["Main", "9lives", "pg_main", "public", "main_read", "main;drop", "a" * 41, "a\n"])
def test_a_tenant_is_named_so_that_it_is_a_schema_of_its_own(tenant: str) -> None:
    with pytest.raises(SettingsRefused, match="RAPPORT_TENANT"):
        Settings.from_environment({}, tenant=tenant)


def test_read_models_lie_in_a_schema_beside_the_log() -> None:
    assert Settings(tenant="bakery").read_schema == "bakery_read"


def test_the_data_folder_is_the_users_own() -> None:
    assert default_data_folder({}, user_id=0) == Path("/var/lib/rapport")
    assert default_data_folder({"XDG_DATA_HOME": "/home/ada/data"}, user_id=1) == Path("/home/ada/data/rapport")
    at_home = Path.home() / ".local" / "share" / "rapport"
    assert default_data_folder({}, user_id=1) == default_data_folder({"XDG_DATA_HOME": "data"}, user_id=1) == at_home


def test_a_data_folder_is_absolute() -> None:
    assert Settings(data=Path("here")).data == Path.cwd() / "here"
    assert Settings(data=Path("~/rapport")).data == Path.home() / "rapport"
