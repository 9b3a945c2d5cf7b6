"""Lost turns: recorded as a gap when the loss is noticed, for good, because the turns had been acknowledged."""

import logging

from django.db.models import Max

from memories.models.conversation import Conversation, ConversationChunk, ConversationGap

logger = logging.getLogger(__name__)


def record_gap(row: Conversation, reason: str, at_least: int) -> ConversationGap:
    """Record that turns after the last saved one may be lost; an earlier flush saw `at_least` of them.

    The caller holds the lock on the row, and writes the row. Nobody knows the last number that Redis had used; it is
    no higher than the block that PostgreSQL had granted.
    """
    saved = ConversationChunk.objects.filter(conversation=row).aggregate(last=Max("last_turn"))["last"] or 0
    row.seen_in_redis = 0
    logger.error(
        "Conversation %r of %s lost turns after turn %s (at least %s): %s",
        row.conversation_id,
        "/".join(row.tenant),
        saved,
        at_least,
        reason,
    )
    return ConversationGap.objects.create(
        conversation=row,
        after_turn=saved,
        before_turn=row.reserved_through + 1,
        at_least=at_least,
        reason=reason,
    )
