"""SES as it is asked: the call, the request, what its answers mean."""
