"""Options that commands share: sessions, filters, normalisers."""
