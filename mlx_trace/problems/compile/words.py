"""Word lists that tell nouns from the rest, and events from states: all the grammar that naming needs."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What may stand between a number and its noun without being part of the name.
SKIPPED: Final = _words(
    "of the his her their its my our your these those new extra additional more fewer less other different big little "
    "separate full whole entire total remaining regular such same own almost exactly about single last next first "
    "previous another consecutive average combined initial original actual nice good great special certain"
)
# Nouns that say nothing when `of` follows.
GENERIC: Final = _words("number numbers amount amounts total value rest sum remainder quantity rate average lot lots")
COMPARATIVES: Final = _words(
    "more fewer less older younger taller shorter longer heavier lighter faster slower higher lower larger bigger "
    "smaller greater deeper wider warmer colder cooler hotter cheaper farther further later earlier"
)
ADJECTIVES: Final = COMPARATIVES | _words(
    "first next last previous second third fourth fifth sixth seventh eighth ninth tenth final middle current small "
    "large medium tiny huge giant short thick heavy young red blue green yellow black white purple pink brown gray "
    "grey silver golden gold expensive cheap free empty available fresh rotten ripe sick healthy different equal able "
    "ready true tallest shortest longest oldest youngest biggest largest smallest best worst fast slow hot cold hard "
    "soft easy upstairs downstairs straight correct wrong right due further far close open online absent present non "
    "pre female male married daily weekly monthly yearly annual hourly several few main local square cubic sq "
    "yellowish dark light bright clean dirty wet dry sweet sour spicy loose rare common similar perfect bad identical"
)
# One, twenty, half: the words of numbers, never a name.
NUMBERS: Final = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety tens hundred hundreds thousand thousands "
    "million millions billion billions dozen dozens half halves quarter twice thrice double triple quadruple once"
)
PRICE: Final = _words(
    "cost costs costing price priced prices buy buys bought buying sell sells sold selling worth charge charges "
    "charged charging apiece"
)
PAY: Final = _words("earn earns earned earning salary wage wages")
WORK: Final = _words("work works worked working job paid makes made make charges charged babysits babysitting")
# Nouns that are money already.
AMOUNTS: Final = _words(
    "price cost pay salary fee fees tax taxes tip tips rent budget allowance income profit balance loan debt deposit "
    "insurance savings refund raise commission wage wages toll bonus money payment payments dollars euros rupees "
    "yen cents expenses earnings revenue sales paycheck"
)
TIMES_OF_DAY: Final = _words(
    "second minute hour day week month year night shift seconds minutes hours days weeks months years morning "
    "afternoon evening weekend today january february march april may june july august september october november "
    "december"
)
PREPOSITIONS: Final = _words("to on in at for from of with after before within over during by")
COPULAS: Final = _words("is was are were be equals turns turned")
STATES: Final = _words("is was are were be has had have will does did equals turns turned")
PLACES: Final = _words(
    "store stores shop mall market supermarket bank bakery cashier website end beginning start wallet pocket"
)
MAGNITUDES: Final = _words("factor speed score age weight height length width depth temperature distance capacity size")
DIMENSIONS: Final = _words("long high tall wide deep thick")
# What holds its number each time there is one of it.
HOLDERS: Final = _words("holds contains weighs contain hold")
# What ends a noun phrase, or is no part of one.
STOPS: Final = _words(
    "a an the his her their its my our your this that these those each every some any another both all of in on at "
    "for to from by with without per as than and or but if when while after before since because so then who which "
    "whose what where how many much there here it he she they them him we us i you me himself herself is are was were "
    "be been being has have had do does did will would can could should may might must not only just also too very "
    "about around over under into onto out up down off through during between among until within now today yesterday "
    "tomorrow later earlier ago again already still yet ever never always often together altogether more less fewer "
    "most least enough left apiece either neither whether though although like unlike except times time percent worth "
    "total combined long high tall wide deep old away back else however therefore along across against behind beside "
    "near past toward towards inside outside above below beyond via despite instead plus minus equally evenly "
    "respectively compared remaining unless such etc am pm no none ones everyone someone anyone everything something "
    "anything nothing themselves itself mr. mrs. ms. dr. once upon throughout rather even almost twice due"
)
VERBS: Final = _words(
    "buy buys bought sell sells sold give gives gave given get gets got make makes made take takes took need needs "
    "needed want wants wanted eat eats ate eaten cost costs pay pays paid use uses used spend spends spent earn earns "
    "earned save saves saved find finds found lose loses lost keep keeps kept start starts started begin begins began "
    "put puts add adds added work works worked run runs ran walk walks walked drive drives drove read reads write "
    "writes wrote bake bakes baked pick picks picked plant plants planted collect collects collected receive receives "
    "received bring brings brought go goes went come comes came grow grows grew play plays played plan plans planned "
    "decide decides decided hold holds held contain contains contained produce produces produced weigh weighs weighed "
    "charge charges charged share shares shared split splits donate donates donated leave leaves order orders ordered "
    "drink drinks drank sleep sleeps slept travel travels traveled fill fills filled feed feeds fed see sees saw say "
    "says said tell tells told live lives lived finish finishes finished complete completes completed increase "
    "increases increased decrease decreases decreased equal equals divided multiplied required going making getting "
    "having using buying selling working eating taken bringing riding ride rides rode swim swims swam watch watches "
    "watched score scores scored win wins won build builds built rang owe owes owed own owns owned offer offers "
    "offered invite invites invited borrow borrows borrowed raise raises catch catches caught assume suppose "
    "calculate determine estimate know knows knew think thinks thought like likes liked love loves prefer prefers "
    "become becomes became turn turns turned carry carries carried manage manages exceed exceeds stay stays return "
    "returns drop drops support supports reach reaches arrive arrives join joins enter enters fit fits stand stands "
    "stood sit sits sat lay lays laid wear wears wore send sends sent throw throws threw lend lends lent fall falls "
    "fell break breaks broke hatch hatches die dies died happen happens remain remains belong belongs download "
    "downloads recommend recommends visit visits move moves stop stops quit try tries tried help helps clean cleans "
    "cook cooks remove removes removed steal stolen stole cut cuts sew sews sewed knit knits draw draws drew measure "
    "measures attend attends enjoy enjoys fix fixes solve solves type types lift lifts let lets allow allows require "
    "requires include includes consist consists gather gathers sprout sprouts invest invests deposit deposits last "
    "lasts hear hears heard meet meets met answer answers hire hires rent rents ask asks call calls seem seems "
    "provide provides purchase purchases serve serves wash washes mow mows climb climbs jump jumps"
)
# Words that multiply, and are nothing else beside it.
MULTIPLES: Final = _words("twice thrice doubled tripled quadrupled doubles triples doubling tripling")
MEASURES: Final = _words(
    "ml cm mm km kg g m l lb lbs oz ft inch inches foot feet yard yards mile miles meter meters kilometer kilometers "
    "gram grams kilogram kilograms ounce ounces pound pounds ton tons liter liters gallon gallons quart quarts pint "
    "pints cup cups second seconds minute minutes hour hours day days week weeks month months year years cent cents "
    "dollar dollars euro euros rupee rupees yen square_foot square_feet square_inch square_inches square_yard "
    "square_yards square_meter square_meters square_mile square_miles cubic_foot cubic_feet cubic_meter cubic_meters "
    "centimeter centimeters acre acres"
)
# First parts of what is one noun in two words: square feet, hot dogs, ice cream.
JOINED: Final = _words("square cubic sq hot ice")
IRREGULAR: Final = {
    "foot": "feet", "square_foot": "square_feet", "cubic_foot": "cubic_feet", "inch": "inches", "person": "people",
    "child": "children", "man": "men", "woman": "women", "mouse": "mice", "tooth": "teeth", "goose": "geese",
    "lb": "lbs", "mph": "mph", "oz": "oz", "sheep": "sheep", "fish": "fish", "century": "centuries",
}  # fmt: skip
PLURALS: Final = frozenset(IRREGULAR.values()) | _words(
    "deer shrimp salmon trout tuna goldfish catfish jellyfish cattle dice buses glasses ml cm mm km kg g m l ft mg mb "
    "gb mph kph police alumni cacti bonsai broccoli moose yen"
)
UNCOUNTED: Final = _words(
    "gas lens plus news christmas series species physics always perhaps this his its as was has yes"
)
# Nouns that look or count like something else.
NOUNS: Final = _words(
    "bed seed shed weed sled feed speed need reed breed bread thread family jelly belly lily fly supply assembly ally "
    "monopoly butterfly firefly ladybug building painting wedding evening morning string ring wing king earring "
    "pudding ceiling clothing meeting spring sibling stocking drawing parking serving topping dumpling duckling "
    "seedling sapling inning filling swing frosting icing lightning crossing pair pairs couple couples dozen dozens "
    "twins triplets"
)
# What happens to a possession.
EVENTS: Final = _words(
    "gave gives give lost loses lose found finds find ate eat eats received receives donated donates threw dropped "
    "broke spilled traded trades collected collects removed removes died hatched borrowed returned"
)
# What tells one number of a thing from another.
DEEDS: Final = EVENTS | _words(
    "bought buys buy sold sells sell won wins win earned earns made makes bakes baked used uses spent spends saved "
    "saves added adds picked picks planted plants read reads scored scores caught catches left took ordered stolen "
    "stole eaten given"
)
