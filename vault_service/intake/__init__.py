"""The mail intake's way in: LMTP and SMTP, a Maildir, standard input. Decides nothing by itself."""
