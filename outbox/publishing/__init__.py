"""Publishing: an event joins the transaction of the change it tells of."""
