"""Word lists that tell nouns from the rest, and events from states: all the grammar that naming needs."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What may stand between a number and its noun without being part of the name.
SKIPPED: Final = _words(
    "of the his her their its my our your these those new extra additional more other different big little separate "
    "full whole entire total remaining regular such same own older younger almost exactly about"
)
PRICE: Final = _words("cost costs price priced prices buy buys bought sell sells sold each apiece worth ticket fee")
PAY: Final = _words("earn earns earned paid pays pay makes made salary wage wages charges charged")
TIMES_OF_DAY: Final = _words(
    "second minute hour day week month year night shift seconds minutes hours days weeks months years"
)
# What ends a noun phrase, or is no part of one.
STOPS: Final = _words(
    "a an the his her their its my our your this that these those each every some any another both all of in on at "
    "for to from by with without per as than and or but if when while after before since because so then who which "
    "whose what where how many much there here it he she they them him we us i you me himself herself is are was were "
    "be been being has have had do does did will would can could should may might must not only just also too very "
    "about around over under into onto out up down off through during between among until within now today yesterday "
    "tomorrow later earlier ago again already still yet ever never always often together altogether more less fewer "
    "most least enough left apiece too either neither whether though although like unlike except times time percent "
    "worth total combined long high tall wide deep old away back else however therefore along across against behind "
    "beside near past toward towards inside outside above below beyond via despite instead plus minus equally evenly "
    "respectively compared remaining if unless as such etc am pm"
)
VERBS: Final = _words(
    "buy buys bought sell sells sold give gives gave given get gets got make makes made take takes took need needs "
    "needed want wants wanted eat eats ate cost costs pay pays paid use uses used spend spends spent earn earns "
    "earned save saves saved find finds found lose loses lost keep keeps kept start starts started begin begins began "
    "put puts add adds added work works worked run runs ran walk walks walked drive drives drove read reads write "
    "writes wrote bake bakes baked pick picks picked plant plants planted collect collects collected receive receives "
    "received bring brings brought go goes went come comes came grow grows grew play plays played plan plans planned "
    "decide decides decided hold holds held contain contains contained produce produces produced weigh weighs weighed "
    "charge charges charged share shares shared split splits donate donates donated leave leaves order orders ordered "
    "drink drinks drank sleep sleeps slept travel travels traveled fill fills filled feed feeds fed see sees saw say "
    "says said tell tells told live lives lived finish finishes finished complete completes completed increase "
    "increases increased decrease decreases decreased equal equals divided multiplied required going making getting "
    "having using sold buying selling working eating takes taken bringing riding ride rides rode swim swims swam "
    "watch watches watched score scores scored win wins won"
)
# Words that multiply, and are nothing else beside it.
MULTIPLES: Final = _words("twice thrice doubled tripled quadrupled doubles triples doubling tripling")
MEASURES: Final = _words(
    "ml cm mm km kg g m l lb lbs oz ft inch inches foot feet yard yards mile miles meter meters kilometer kilometers "
    "gram grams kilogram kilograms ounce ounces pound pounds ton tons liter liters gallon gallons quart quarts pint "
    "pints cup cups second seconds minute minutes hour hours day days week weeks month months year years cent cents "
    "dollar dollars square cubic"
)
# What happens to a possession.
EVENTS: Final = _words(
    "gave gives give lost loses lose found finds find ate eats eat received receives donated donates threw dropped "
    "broke spilled traded trades collected collects removed removes died hatched borrowed returned"
)
