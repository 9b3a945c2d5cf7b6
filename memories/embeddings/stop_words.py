"""The most frequent words of many languages: articles, prepositions, pronouns, auxiliaries and question words.

They are in most texts of their language, so they say little about what a text is about. They also tell which language a
text is in. A word like "war" is grammar in German and a subject in English, so a list only counts in a text of its
language.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

ENGLISH = """
    a about after again all also am an and any are aren as at be because been before being but by can could
    couldn d did didn do does doesn doing don done down each ever every few for from get gets getting got
    had hadn has hasn have haven having he her here hers him his how i if in into is isn it its itself just
    let like ll m many may me might more most much must my no nor not now of off on once one only or other
    our out over own rather re really s same shall she should shouldn so some such t than that the their
    them then there these they this those through to too under up us ve very was wasn we were weren what
    when where which while who whom whose why will with won would wouldn you your yours
"""
# By the name of PostgreSQL's text search configuration, or of the language where PostgreSQL has none.
BY_LANGUAGE = {
    "arabic": (
        "في من على الى إلى عن مع هذا هذه ذلك التي الذي ما ماذا هل كان كانت قد لا لم لن أن إن او أو و ثم"
        " كل بعد قبل هو هي هم كيف متى أين اين لماذا كم أي اي عند بين حيث غير حتى كما منذ"
    ),
    "catalan": (
        "el la els les un una de del dels al als i o que en amb per com és són va ser no més aquest"
        " aquesta quin quina quan on qui es ha"
    ),
    "czech": (
        "a v ve na je se si z ze do o i to že by s k ke za pro po od u jako který která které co kdo kde"
        " kdy jak byl byla bylo byly jsou není ale nebo tak také při až než"
    ),
    "danish": (
        "og i at det en et den til er som på de med han af for ikke der var mig sig men har om vi havde"
        " hun nu da fra du ud hvad hvem hvor hvornår hvordan hvilken hvilket hvilke blev kan vil skal"
        " eller efter"
    ),
    "dutch": (
        "de het een en van in is dat die te op zijn met voor niet aan er om hij was als ook door maar"
        " bij uit dan nog naar heeft hebben ze wordt worden werd werden wat wie waar wanneer hoe welke"
        " welk over tot deze dit kan zou had"
    ),
    "finnish": (
        "ja on ei se että oli joka hän ovat mutta kun niin myös mikä mitä missä milloin kuka miten"
        " kuinka tai ole olivat jossa jotka sekä sen siitä tämä tämän ne nämä vain"
    ),
    "french": (
        "le la les l un une des du de d et en à au aux est sont était été que qui quoi quel quelle quels"
        " quelles dans pour par sur avec ne pas plus ce cette ces se sa son ses il elle ils elles on nous"
        " vous je tu où quand comment pourquoi combien ou mais comme a ont avait être fait y c s n j qu"
        " leur leurs"
    ),
    "german": (
        "der die das den dem des ein eine einer eines einem einen und oder in im von vom zu zum zur mit"
        " auf für ist sind war waren wird werden wurde wurden wer was wo wann wie warum welche welcher"
        " welches welchen welchem nicht auch als an am bei beim nach aus es er sie ich wir ihr sich hat"
        " haben hatte hatten dass durch über um noch nur so aber wenn vor unter kann konnte sein seine"
        " seiner ihre ihrer ihren viele vielen diese dieser dieses diesem diesen man wofür woraus womit"
        " wodurch"
    ),
    "greek": (
        "ο η το οι τα του της των τον την τους τις και κι σε στο στη στην στον στα στις στους με για από"
        " να είναι ήταν που πού πως πώς τι ποιος ποια ποιο ποιοι ποιες πότε πόσο πόσα δεν δε θα ως ή ένα"
        " ένας μια μία αυτό αυτή αυτός κατά έχει είχε όπως ότι"
    ),
    "hebrew": (
        "של את על עם לא הוא היא זה זו הם אל כל גם או אם כי מה מי איפה מתי איך למה כמה היה היתה היו אשר בין"
    ),
    "hindi": (
        "के का की में है हैं को से ने पर और एक यह वह इस उस था थी थे कि जो तो भी ही नहीं क्या कौन कब कहाँ"
        " कैसे क्यों कितने कितना किस लिए साथ द्वारा या हो होता होती होते गया गई गए कर करने किया अपने"
    ),
    "hungarian": (
        "a az és hogy nem is egy volt van ez azt mint meg csak de már vagy ha mi mit ki hol mikor hogyan"
        " milyen melyik mennyi hány voltak lett el fel be ki aki amely ami ezt ezek azok"
    ),
    "indonesian": (
        "yang dan di dari untuk pada dengan adalah ini itu ke tidak dalam oleh sebagai akan juga atau"
        " telah ada apa siapa mana kapan bagaimana mengapa berapa saya kami mereka dia"
    ),
    "italian": (
        "il lo la i gli le un uno una di del dello della dei degli delle a al alla ai agli alle da dal"
        " dalla in nel nella nei nelle con su sul sulla per e ed o è sono era erano che chi cosa quale"
        " quali quando dove come perché quanto quanti non si più ha hanno questo questa questi ma anche"
        " se l d"
    ),
    "norwegian": (
        "og i jeg det at en et den til er som på de med han av ikke der var meg seg men ett har om vi"
        " min hadde hun nå over da ved fra du ut hva hvem hvor når hvordan hvilken hvilket hvilke ble"
        " blir kan vil skal eller etter for"
    ),
    "polish": (
        "w we i z ze na do jest się nie to że o od po za dla przez jak co kto gdzie kiedy który która"
        " które jaki jaka jakie ile był była było były są oraz lub ale czy tym tego tej przy a"
    ),
    "portuguese": (
        "o a os as um uma de do da dos das em no na nos nas ao à aos às por pelo pela para com e ou que"
        " quem qual quais quando onde como porque quanto quantos não é são foi foram era se mais sua seu"
        " suas seus ele ela eles este esta isso ser tem mas"
    ),
    "romanian": (
        "și si în in la de cu pe din a al ai ale un o unui unei este sunt era au fost care ce cine unde"
        " când cum cât câți câte cel cea cei cele nu se să sa mai pentru prin sau dar că lui ei lor acest"
        " această după fi"
    ),
    "russian": (
        "и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее её"
        " мне было вот от меня о из ему был была были есть для мы их чем при это этот эта эти того кто"
        " где когда какой какая какое какие каком какую каким каких какого почему сколько или чтобы до"
        " под над об после который которая которое которые"
    ),
    "serbian": ("и у је се на да од за су са као који која које што или али по из о до био била било"),
    "spanish": (
        "el la los las un una unos unas de del en a al y e o u que qué quien quién quienes cual cuál"
        " cuáles cuando cuándo donde dónde como cómo por para con sin es son era fue fueron ser se su sus"
        " lo le les no más pero este esta esto ese esa ha han había cuánto cuántos cuántas hay sobre"
        " entre también"
    ),
    "swedish": (
        "och i att det en ett den till är som på de med han av för inte var mig sig men har om vi hade"
        " hon nu då från du ut vad vem var när hur vilken vilket vilka blev kan ska eller efter man denna"
        " detta"
    ),
    "turkish": (
        "ve bir bu da de ile için olarak ne kim nerede nasıl hangi kaç olan en daha çok gibi kadar sonra"
        " ise mi mı mu mü o şu ki ya var yok değil olduğu tarafından her"
    ),
    "ukrainian": (
        "і й та в у на не що він з із як а до за це його вона для від про є був була було були які який"
        " яка яке хто де коли чому скільки або але щоб також"
    ),
    "vietnamese": (
        "của và là có được các những cho trong với không một này đó để từ đến khi tại về ở nào gì ai đâu"
        " bao nhiêu như thế vào ra đã sẽ bị người cũng"
    ),
}


def folded(text: str) -> str:
    """Return the text without case, accents and compatibility forms: "Café" becomes "cafe"."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", bare)  # Korean syllables again, not their letters


def written() -> dict[str, tuple[str, ...]]:
    """Return the words as they are written, each with its languages."""
    found: dict[str, tuple[str, ...]] = {}
    for language, words in {"english": ENGLISH, **BY_LANGUAGE}.items():
        for word in dict.fromkeys(words.split()):
            found[word] = (*found.get(word, ()), language)
    return found


def _folded() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for word, languages in written().items():
        found[folded(word)] = found.get(folded(word), frozenset()) | set(languages)
    return found


# The languages in which a folded word is a stop word.
LANGUAGES = _folded()


def language_of(words: Iterable[str]) -> str:
    """Return the language in which most of the folded words are stop words; English if there is no better one."""
    counts = Counter(language for word in set(words) for language in LANGUAGES.get(word, ()))
    best = max(counts, key=counts.__getitem__, default="english")
    return best if counts[best] > counts["english"] else "english"


def is_stop_word(word: str, language: str) -> bool:
    """Tell whether the folded word is a stop word of English or of the language.

    >>> is_stop_word("war", "german"), is_stop_word("war", "english")
    (True, False)
    """
    languages = LANGUAGES.get(word, ())
    return language in languages or "english" in languages
