"""Words in English and Simplified Chinese. English text is its own key; a missing entry shows the English."""
