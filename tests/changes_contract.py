"""What an edit or a revocation leaves behind in any store."""

from dataclasses import replace

from relevo.messages import EDIT, Author, Edit, Fate, Revocation, Untold
from relevo.turns import Outcome, Stage
from relevo.writes import Rows
from tests.journal_rows import PHONE, Stores, after, loaded, opened, said, written


def edit(text: str, at: float = 20, author: Author = Author.CUSTOMER, of: str = "Hola") -> Edit:
    return Edit(of, author, text, after(at))


def revocation(author: Author = Author.CUSTOMER, of: str = "Hola") -> Revocation:
    return Revocation(of, author, after(30))


def read(rows: Rows) -> list[tuple[str, str, bool]]:
    return [(m.kind, m.body, m.revoked) for m in rows.untold]


class ChangesContract:
    """Only who wrote a message changes it, the newest edit counts, a revocation is final."""

    async def test_an_edit_of_what_waits_changes_its_words_and_nothing_else(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        before = await loaded(stores, key)
        await stores.change(edit("Hola!"))
        rows = await loaded(stores, key)
        assert rows.untold == (replace(before.untold[0], body="Hola!"),)
        assert rows.conversation.version == before.conversation.version + 1

    async def test_older_repeated_and_other_people_s_changes_are_none(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        await stores.deliver(PHONE, said("Buenas", author=Author.AUTOMATION))
        await stores.change(edit("Hola!"))
        await stores.change(edit("Claro", author=Author.AGENT, of="Buenas"))
        before = await loaded(stores, key)
        assert [m.body for m in before.untold] == ["Hola!", "Claro"]
        for change in (
            edit("Hol", at=19),
            edit("Otra vez"),
            edit("Malo", at=90, author=Author.AGENT),
            edit("Malo", at=90, of="Buenas"),
            revocation(Author.AGENT),
            revocation(of="Buenas"),
        ):
            await stores.change(change)
            assert await loaded(stores, key) == before

    async def test_a_change_whose_author_is_not_told_is_its_writer_s(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        await stores.deliver(PHONE, said("Buenas", author=Author.AGENT, at=1))
        await stores.change(edit("Hola!", author=Author.UNKNOWN))
        await stores.change(edit("Buenas!", author=Author.UNKNOWN, of="Buenas"))
        assert [m.body for m in (await loaded(stores, key)).untold] == ["Hola!", "Buenas!"]

    async def test_an_edit_of_what_the_ai_is_being_asked_waits_as_context(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        await stores.deliver(PHONE, said("Buenas", author=Author.AGENT, at=1))
        one, two = (await loaded(stores, key)).untold
        turn = opened(stores, one.id, missed_ids=(two.id,))
        for number, asking in enumerate((turn, replace(turn, stage=Stage.RECONCILING))):
            await written(stores, key, turn=asking)
            stores.now = after(60 + number)
            await stores.change(edit(f"Hola {number}", at=50 + number))
            await stores.change(edit(f"Buenas {number}", 50 + number, Author.AGENT, "Buenas"))
            rows = await loaded(stores, key)
            texts = [("text", "Hola"), ("text", "Buenas")]
            # The newest edit is all that is told.
            edits = [(EDIT, f"Hola {number}"), (EDIT, f"Buenas {number}")]
            assert sorted((m.kind, m.body) for m in rows.untold) == sorted([*texts, *edits])
        new = next(m for m in (await loaded(stores, key)).untold if m.body == "Hola 1")
        assert (new.untold, new.author, new.event_at) == (
            Untold.CONTEXT,
            Author.CUSTOMER,
            after(50),
        )
        assert await stores.fates() == {one.id: Fate.IN_FLIGHT, new.id: Fate.CONTEXT}

    async def test_an_edit_of_what_is_to_be_asked_again_changes_the_question(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn = opened(stores, message.id)
        for number, waiting in enumerate(
            (
                replace(turn, stage=Stage.RECALLING),
                replace(turn, stage=Stage.ENSURING),
                replace(turn, wait_until=after(90)),
            )
        ):
            await written(stores, key, turn=waiting)
            await stores.change(edit(f"Hola {number}", at=50 + number))
            assert read(await loaded(stores, key)) == [("text", f"Hola {number}", False)]

    async def test_what_was_told_is_told_anew(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        await written(stores, key, told=(message.id,), fates=((message.id, Fate.ANSWERED),))
        await stores.change(edit("Hola!"))
        rows = await loaded(stores, key)
        assert read(rows) == [(EDIT, "Hola!", False)]
        await written(stores, key, told=(rows.untold[0].id,))
        await stores.change(edit("Hola!!", at=25))
        assert read(await loaded(stores, key)) == [(EDIT, "Hola!!", False)]
        assert [m.body for m in await stores.journal.told(key, 10)] == ["Hola", "Hola!"]

    async def test_a_revocation_marks_what_waits_for_the_core(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        before = await loaded(stores, key)
        await stores.change(revocation())
        rows = await loaded(stores, key)
        assert rows.untold == (replace(before.untold[0], revoked=True),)
        assert rows.conversation.version == before.conversation.version + 1
        for change in (revocation(), edit("Hola!", at=60)):
            await stores.change(change)
            assert await loaded(stores, key) == rows

    async def test_what_was_revoked_is_told_no_more_nor_are_its_edits(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        await stores.deliver(PHONE, said("Busco mesa", at=1))
        one, two = (m.id for m in (await loaded(stores, key)).untold)
        turn = opened(stores, one, two, stage=Stage.SENDING)
        await written(stores, key, turn=turn, told=(one, two))
        await stores.change(edit("Hola!"))
        (new,) = (await loaded(stores, key)).untold
        await written(stores, key, told=(new.id,))
        await stores.change(edit("Hola!!", at=25))
        await stores.change(revocation())
        rows = await loaded(stores, key)
        assert read(rows) == [(EDIT, "Hola!!", True)]
        assert [(m.body, m.revoked) for m in rows.told] == [("Hola", True), ("Busco mesa", False)]
        assert [m.body for m in await stores.journal.told(key, 10)] == ["Busco mesa"]
        ended = replace(turn, stage=Stage.ENDED, outcome=Outcome.NO_REPLY, ended_at=after(99))
        await written(stores, key, turn=ended)

    async def test_who_nobody_knows_changes_nothing_yet(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        before = await loaded(stores, key)
        await stores.change(edit("Adios", of="another"))
        await stores.change(revocation(of="another"))
        assert await loaded(stores, key) == before
