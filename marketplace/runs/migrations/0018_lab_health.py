from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0017_fate'),
    ]

    operations = [
        migrations.CreateModel(
            name='LabHealth',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('lab', models.CharField(max_length=40)),
                ('worker', models.CharField(max_length=80)),
                ('state', models.CharField(max_length=10)),
                ('why', models.CharField(blank=True, max_length=200)),
                ('since', models.DateTimeField(help_text='of the state')),
                ('in_hand', models.IntegerField()),
                ('asked', models.BigIntegerField(help_text='questions since its process began')),
                ('lateness', models.FloatField(default=0)),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('lab', 'worker'), name='lab_health_once')],
            },
        ),
    ]
