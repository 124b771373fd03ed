"""What of the sending is closed, and by what: an operator, SES's refusals, the breaker, the brake."""
