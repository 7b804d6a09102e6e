import pytest
@pytest.mark.django_db
def test_a():
    from marketplace.accounts.models import Team
    Team.objects.create(name="x")
    assert Team.objects.count() == 1
@pytest.mark.django_db(transaction=True)
def test_b():
    from marketplace.accounts.models import Team
    Team.objects.create(name="x")
    assert Team.objects.count() == 1
@pytest.mark.django_db(transaction=True)
def test_c():
    from marketplace.accounts.models import Team
    assert Team.objects.count() == 0
