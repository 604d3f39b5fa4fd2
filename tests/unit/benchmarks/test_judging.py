from __future__ import annotations

import pytest

from tests.benchmarks import judging, messages
from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Job, Mode, Report
from tests.benchmarks.judging import MismatchError
from tests.benchmarks.messages import Send


def a_report(accepted: int, rejected: int, failed: int = 0) -> Report:
    return Report(cpu=1.0, timed=99, accepted=accepted, rejected=rejected, failed=failed)


def test_a_client_and_a_target_that_agree_are_believed() -> None:
    judging.check("a client", 100, a_report(99, 1), 99, 1)


@pytest.mark.parametrize(
    ("report", "accepted", "refused"),
    [
        (a_report(99, 1), 98, 1),  # the client claims one that did not arrive
        (a_report(98, 1), 99, 1),  # one arrived that the client knows nothing of
        (a_report(100, 0), 100, 0),  # nobody minds the malformed push
        (a_report(99, 1), 100, 0),  # the client says that it was refused, the target took it
        (a_report(98, 2), 98, 2),  # another one was refused, too
        (a_report(98, 1, failed=1), 98, 1),  # one was not answered
        (a_report(49, 1), 49, 1),  # both agree on half of them
    ],
)
def test_any_difference_is_a_mismatch(report: Report, accepted: int, refused: int) -> None:
    with pytest.raises(MismatchError, match="a client: 100 pushes"):
        judging.check("a client", 100, report, accepted, refused)


def a_job(mode: Mode, pushes: int) -> Job:
    return Job("https://localhost:1", "ca.pem", mode, "/path", "Bearer x", "topic", pushes, in_flight=10)


def test_fcm_pushes_have_a_body_of_293_bytes_each_another_and_one_is_cut_off() -> None:
    bodies = driving.bodies(a_job("fcm", 50))
    assert len(set(bodies)) == 50
    assert [len(body) for body in bodies] == [293] * 25 + [11] + [293] * 24


def test_apns_pushes_have_a_path_each_another_and_one_is_no_device() -> None:
    job = a_job("apns", 50)
    assert {len(body) for body in driving.bodies(job)} == {293}
    assert len(set(driving.paths(job))) == 50
    assert driving.paths(job)[25] == "/3/device/zz"


def test_a_send_to_users_reaches_every_other_one_twice() -> None:
    users = [f"user{number}" for number in range(9)]
    send = Send("users", 10, personalised=True, users=users)
    registered = len(messages.registrations(range(9))) + len(messages.registrations(range(9), users))
    assert send.pushes == registered + 1  # and the malformed one


def test_rest_and_grpc_send_the_same() -> None:
    send = Send("FCM", 5, personalised=True, first=100)
    request = send.grpc_request()
    assert len(request.to) == 5
    assert [recipient.token for recipient in request.to if len(recipient.token) < 1000] == [
        messages.device_token("FCM", number) for number in range(100, 104)
    ]
    assert all(recipient.token.encode() in send.rest_body() for recipient in request.to)
