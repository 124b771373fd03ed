"""What the unsubscribe page says, in the languages that are shipped.

`{list}` and `{sender}` stand for what they name.
"""

# ruff: noqa: RUF001  each language has its own quotes and apostrophes

from __future__ import annotations

from dataclasses import dataclass

ENGLISH = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """All that the page says, in one language."""

    ask: str
    """The title before."""
    ask_list: str
    ask_all: str
    leave: str
    """The button."""
    left: str
    """The title after."""
    left_list: str
    left_all: str
    mistake: str
    """Beside the button that leads back."""
    come_back: str
    """That button."""
    back: str
    """The title when somebody came back."""
    back_list: str
    back_all: str
    not_found: str
    incomplete: str


LANGUAGES: dict[str, Words] = {
    ENGLISH: Words(
        ask="Unsubscribe",
        ask_list="Do you want to leave the list “{list}” of {sender}?",
        ask_all="Do you want to leave all emails from this sender, {sender}?",
        leave="Unsubscribe",
        left="Unsubscribed",
        left_list="You have left the list “{list}” of {sender}.",
        left_all="You have left all emails from this sender, {sender}.",
        mistake="Was that a mistake?",
        come_back="Subscribe again",
        back="Subscribed again",
        back_list="Welcome back. You get the list “{list}” of {sender} again.",
        back_all="Welcome back. You get emails from {sender} again.",
        not_found="Not found",
        incomplete="This link is not complete. Please copy all of it from the email, or answer the email.",
    ),
    "de": Words(
        ask="Abmelden",
        ask_list="Möchten Sie die Liste „{list}“ von {sender} abbestellen?",
        ask_all="Möchten Sie alle E-Mails von {sender} abbestellen?",
        leave="Abmelden",
        left="Abgemeldet",
        left_list="Sie haben die Liste „{list}“ von {sender} abbestellt.",
        left_all="Sie haben alle E-Mails von {sender} abbestellt.",
        mistake="War das ein Versehen?",
        come_back="Wieder anmelden",
        back="Wieder angemeldet",
        back_list="Willkommen zurück. Sie erhalten die Liste „{list}“ von {sender} wieder.",
        back_all="Willkommen zurück. Sie erhalten wieder E-Mails von {sender}.",
        not_found="Nicht gefunden",
        incomplete="Dieser Link ist nicht vollständig. Bitte kopieren Sie ihn ganz aus der E-Mail.",
    ),
    "fr": Words(
        ask="Se désabonner",
        ask_list="Voulez-vous quitter la liste « {list} » de {sender} ?",
        ask_all="Voulez-vous ne plus recevoir d’e-mails de {sender} ?",
        leave="Se désabonner",
        left="Désabonnement effectué",
        left_list="Vous avez quitté la liste « {list} » de {sender}.",
        left_all="Vous ne recevrez plus d’e-mails de {sender}.",
        mistake="Était-ce une erreur ?",
        come_back="Se réabonner",
        back="Réabonnement effectué",
        back_list="Bon retour. Vous recevez à nouveau la liste « {list} » de {sender}.",
        back_all="Bon retour. Vous recevez à nouveau les e-mails de {sender}.",
        not_found="Page introuvable",
        incomplete="Ce lien est incomplet. Copiez-le en entier depuis l’e-mail, ou répondez à l’e-mail.",
    ),
    "es": Words(
        ask="Darse de baja",
        ask_list="¿Quiere dejar la lista «{list}» de {sender}?",
        ask_all="¿Quiere dejar de recibir correos de {sender}?",
        leave="Darse de baja",
        left="Baja realizada",
        left_list="Ha dejado la lista «{list}» de {sender}.",
        left_all="Ya no recibirá correos de {sender}.",
        mistake="¿Ha sido un error?",
        come_back="Suscribirse de nuevo",
        back="Suscrito de nuevo",
        back_list="Bienvenido de nuevo. Vuelve a recibir la lista «{list}» de {sender}.",
        back_all="Bienvenido de nuevo. Vuelve a recibir correos de {sender}.",
        not_found="No encontrado",
        incomplete="Este enlace no está completo. Cópielo entero del correo, o responda al correo.",
    ),
    "nl": Words(
        ask="Uitschrijven",
        ask_list="Wilt u zich uitschrijven voor de lijst ‘{list}’ van {sender}?",
        ask_all="Wilt u zich uitschrijven voor alle e-mails van {sender}?",
        leave="Uitschrijven",
        left="Uitgeschreven",
        left_list="U bent uitgeschreven voor de lijst ‘{list}’ van {sender}.",
        left_all="U bent uitgeschreven voor alle e-mails van {sender}.",
        mistake="Was dat een vergissing?",
        come_back="Opnieuw inschrijven",
        back="Opnieuw ingeschreven",
        back_list="Welkom terug. U ontvangt de lijst ‘{list}’ van {sender} weer.",
        back_all="Welkom terug. U ontvangt weer e-mails van {sender}.",
        not_found="Niet gevonden",
        incomplete="Deze link is niet volledig. Kopieer hem helemaal uit de e-mail, of beantwoord de e-mail.",
    ),
    "it": Words(
        ask="Annulla l’iscrizione",
        ask_list="Vuole lasciare la lista «{list}» di {sender}?",
        ask_all="Vuole non ricevere più email da {sender}?",
        leave="Annulla l’iscrizione",
        left="Iscrizione annullata",
        left_list="Ha lasciato la lista «{list}» di {sender}.",
        left_all="Non riceverà più email da {sender}.",
        mistake="È stato un errore?",
        come_back="Iscriversi di nuovo",
        back="Iscritto di nuovo",
        back_list="Bentornato. Riceve di nuovo la lista «{list}» di {sender}.",
        back_all="Bentornato. Riceve di nuovo le email di {sender}.",
        not_found="Pagina non trovata",
        incomplete="Questo link non è completo. Lo copi per intero dall’email, oppure risponda all’email.",
    ),
}


def language_of(accepted: str) -> str:
    """The shipped language that a reader likes best, by the header Accept-Language; English where none is."""
    best, best_quality = ENGLISH, 0.0
    for part in accepted[:500].split(","):
        name, _, rest = part.partition(";")
        language = name.strip().partition("-")[0].lower()
        try:
            quality = float(rest.partition("q=")[2] or 1)
        except ValueError:
            continue
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best
