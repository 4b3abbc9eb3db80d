"""What people ask of a conversation, as rows: holds, requests, sends that answer nobody."""

from dataclasses import replace
from datetime import datetime

from relevo.messages import Author, ConversationKey, Source, Untold
from tests.fakes.book import Book


def hold(book: Book, key: ConversationKey, until: datetime) -> None:
    """A person takes the chat."""
    thread = book.thread(key)
    thread.conversation = replace(thread.conversation, hold_until=until)
    thread.raise_version()


def give_back(book: Book, key: ConversationKey, now: datetime) -> None:
    """A person gives the chat back: what came until now stays held."""
    thread = book.thread(key)
    until = thread.conversation.hold_until
    until = min(until, now) if until is not None else None
    thread.conversation = replace(thread.conversation, hold_until=until, hold_released_at=now)
    thread.raise_version()


def ask(book: Book, key: ConversationKey, now: datetime) -> int:
    """A person gives the chat back, and wants an answer to what was held or has failed."""
    give_back(book, key, now)
    return book.put_waiting(key, (Author.SYSTEM, "answer", Untold.ASKED), now)


def queue(
    book: Book,
    key: ConversationKey,
    text: str,
    now: datetime,
    author: Author = Author.AUTOMATION,
    source: Source = Source.SCHEDULE,
) -> int:
    """Have something said at its time, or now (source api): by an automation, or a person."""
    book.thread(key).raise_version()
    return book.put_waiting(key, (author, text, Untold.DUE), now, source)
