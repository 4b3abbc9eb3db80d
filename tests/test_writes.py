"""What is read back from a store."""

from relevo.writes import Unread


def test_a_count_of_unread_rows_is_a_number_that_knows_whether_it_may_wait() -> None:
    assert Unread(3) == 3
    assert not Unread(3).pressing
    assert Unread(1, pressing=True).pressing
    assert max([Unread(0), Unread(2, pressing=True)]) == 2
