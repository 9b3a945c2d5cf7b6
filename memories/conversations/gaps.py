"""A loss is recorded where it is noticed, and stays: what was acknowledged and is gone is not papered over."""

import logging

from django.db.models import Max

from memories.models.conversation import Conversation, ConversationGap, ConversationPart

logger = logging.getLogger(__name__)


def note_loss(row: Conversation, reason: str, at_least: int) -> ConversationGap:
    """Record that turns after the last saved one may be missing; `at_least` so many were seen there.

    The row is locked, and saved by the caller. Up to which number they reached nobody knows: no further than
    PostgreSQL had lent.
    """
    saved = ConversationPart.objects.filter(conversation=row).aggregate(last=Max("last_turn"))["last"] or 0
    row.seen_in_redis = 0
    logger.error(
        "Conversation %r of %s lost turns after %s (at least %s): %s",
        row.conversation_id,
        "/".join(row.tenant),
        saved,
        at_least,
        reason,
    )
    return ConversationGap.objects.create(
        conversation=row,
        after_turn=saved,
        before_turn=row.given_through + 1,
        at_least=at_least,
        reason=reason,
    )
