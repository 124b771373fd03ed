"""What calls say, read and checked as SES does."""
