"""What each action does, one file a kind of resource; the table at a file's end says who performs which action."""
